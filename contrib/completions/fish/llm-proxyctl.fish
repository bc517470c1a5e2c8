# fish completion for llm-proxyctl(1)

set -l commands status top tokens backends reload drain loglevel limiter config
set -l levels error warning notice info debug

complete -c llm-proxyctl -f
complete -c llm-proxyctl -s s -l socket -r -F -d 'CONTROL_SOCKET of the daemon'
complete -c llm-proxyctl -s c -l config -r -F -d 'The settings that name it'
complete -c llm-proxyctl -s j -l json -d 'Print the JSON document of the daemon'
complete -c llm-proxyctl -s d -l delay -x -d 'Seconds between two looks of top'
complete -c llm-proxyctl -s V -l version -d 'Print the version'
complete -c llm-proxyctl -s h -l help -d 'Print a short help'
complete -c llm-proxyctl -n "not __fish_seen_subcommand_from $commands" -a "$commands"
complete -c llm-proxyctl -n '__fish_seen_subcommand_from loglevel' -a "$levels"
complete -c llm-proxyctl -n '__fish_seen_subcommand_from limiter; and not __fish_seen_subcommand_from reset' -a reset
complete -c llm-proxyctl -n '__fish_seen_subcommand_from reset' \
    -a '(llm-proxyctl tokens 2>/dev/null | string replace -r " .*" "" | tail -n +2)'
