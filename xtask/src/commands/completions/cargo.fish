# Within `cargo xtask`, complete what follows as a command line of `xtask`.
function __fish_cargo_xtask
    set -l words (commandline -opc) (commandline -ct)
    complete --do-complete (string join ' ' -- $words[2..])
end

function __fish_in_cargo_xtask
    set -l words (commandline -opc)
    test (count $words) -ge 2; and test "$words[2]" = xtask
end

complete -c cargo -n __fish_in_cargo_xtask -f -a '(__fish_cargo_xtask)'
