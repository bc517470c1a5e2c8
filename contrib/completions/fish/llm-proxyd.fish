# fish completion for llm-proxyd(8)

complete -c llm-proxyd -f
complete -c llm-proxyd -s c -l config -r -F -d 'Settings'
complete -c llm-proxyd -s d -l daemon -d 'Go into the background once it serves'
complete -c llm-proxyd -s f -l foreground -d 'Stay in the foreground'
complete -c llm-proxyd -l debug -d 'Stay in the foreground with LOG_LEVEL=debug'
complete -c llm-proxyd -s p -l pid-file -r -F -d 'Lock a file, write the process id into it'
complete -c llm-proxyd -s u -l user -x -a '(__fish_complete_users)' -d 'Become a user for good'
complete -c llm-proxyd -s g -l group -x -a '(__fish_complete_groups)' -d 'And a group'
complete -c llm-proxyd -s t -l test-config -d 'Check the configuration'
complete -c llm-proxyd -l connect -d 'With -t: try the Redis server of limits'
complete -c llm-proxyd -s T -l dump-config -d 'Print the settings, secrets masked'
complete -c llm-proxyd -l print-nginx -d 'Print a server for an nginx in front'
complete -c llm-proxyd -l hash-token -d 'Read a token, print its token_sha256'
complete -c llm-proxyd -l healthcheck -x -d 'Whether a daemon answers at a URL'
complete -c llm-proxyd -s V -l version -d 'Print versions'
complete -c llm-proxyd -s h -l help -d 'Print a short help'
