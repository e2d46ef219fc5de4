# bash completion for bond-broker: commands, their options and the settings' flags, all of
# which the program itself lists, so that they are those of the program that is installed.
_bond_broker() {
    local program=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]} command=serve words
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ] && [[ $word != -* ]]; then
        words=$("$program" help --words 2>/dev/null)
    elif [[ $word == -* ]]; then
        [[ ${COMP_WORDS[1]} == -* ]] || command=${COMP_WORDS[1]}
        words=$("$program" help --words "$command" 2>/dev/null)
    elif [ "${COMP_WORDS[1]}" = help ]; then
        words=$("$program" help --words 2>/dev/null)
    else
        return # a value, a stream: not ours to know
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -o default -F _bond_broker bond-broker
