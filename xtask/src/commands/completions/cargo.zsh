# The function of cargo's own that completes its commands calls the one of this name for `xtask`.
_cargo-xtask() {
    _xtask "$@"
}
