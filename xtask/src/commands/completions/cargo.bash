# `cargo xtask` is completed by the function above, every other command of cargo as before.
if ! complete -p cargo >/dev/null 2>&1; then
    # bash-completion loads what completes a command only when it is first asked for.
    if declare -F _comp_load >/dev/null; then
        _comp_load cargo
    elif declare -F _completion_loader >/dev/null; then
        _completion_loader cargo
    fi
    # Cargo's own script builds on functions of bash-completion.
    if ! declare -F _cargo >/dev/null && declare -F _get_comp_words_by_ref >/dev/null; then
        _xtask_cargo=$(rustc --print sysroot 2>/dev/null)/etc/bash_completion.d/cargo
        [[ -r $_xtask_cargo ]] && source "$_xtask_cargo"
        unset _xtask_cargo
    fi
fi

_cargo_xtask() {
    if [[ ${COMP_WORDS[1]} == xtask && $COMP_CWORD -gt 1 ]]; then
        COMP_WORDS=("${COMP_WORDS[@]:1}")
        COMP_CWORD=$((COMP_CWORD - 1))
        _xtask xtask "$2" "$3"
    elif declare -F _cargo >/dev/null; then
        _cargo "$@"
    elif [[ $COMP_CWORD -eq 1 && xtask == "$2"* ]]; then
        COMPREPLY=(xtask)
    fi
}

complete -F _cargo_xtask -o bashdefault -o default cargo
