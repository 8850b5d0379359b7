#!/bin/sh
# Installed by `cargo xtask hook install`. `git commit --no-verify` skips it once, `cargo xtask hook remove` for good.
# What takes longer than seconds is left to `cargo xtask test`.

LIMIT=1048576
failed=0
fail() {
    echo "pre-commit: $1" >&2
    echo "  Next: $2" >&2
    failed=1
}

staged=$(git -c core.quotePath=false diff --cached --name-only --diff-filter=ACMR)
[ -n "$staged" ] || exit 0

markers=$(git diff --cached --check | grep 'leftover conflict marker')
[ -z "$markers" ] || fail "$markers" "resolve the conflict, then git add the file"

old_ifs=$IFS
IFS='
'
set -f
for file in $staged; do
    # A submodule is no blob and has no size here.
    size=$(git cat-file -s ":$file" 2>/dev/null) || continue
    [ "$size" -le "$LIMIT" ] || fail "$file has $size bytes, more than $LIMIT" "git restore --staged '$file'"
done
set +f
IFS=$old_ifs

# The nearest manifest of a workspace above a Rust file is the one by which cargo formats it.
rust=$(echo "$staged" | grep '\.rs$')
for manifest in $(echo "$rust" | sed -n -e 's|^services/.*|services/Cargo.toml|p' -e '/^services\//!s|..*|Cargo.toml|p' | sort -u); do
    cargo fmt --all --check --manifest-path "$manifest" >/dev/null 2>&1 ||
        fail "Rust files of $manifest are not formatted" "cargo fmt --all --manifest-path $manifest, then git add"
done

# The rules on the tool's own code, by the program that the last `cargo test` has built; nothing is compiled here.
if [ -n "$rust" ]; then
    tidy=$(ls -t "${CARGO_TARGET_DIR:-target}"/debug/deps/tidy-* 2>/dev/null | grep -v '\.d$' | head -n 1)
    if [ -x "$tidy" ]; then
        output=$("$tidy" --quiet 2>&1) || fail "$output" "see the rules in xtask/tests/tidy.rs"
    fi
fi
exit $failed
