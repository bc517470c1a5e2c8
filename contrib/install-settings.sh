#!/bin/sh
# Run by meson at install: the settings, unless the site has its own already.
#
#   install-settings.sh FILE SYSCONFDIR
set -eu
folder=${DESTDIR-}$2/llm-proxy
if [ -e "$folder/llm-proxy.conf" ] || [ -L "$folder/llm-proxy.conf" ]; then
    exit 0
fi
[ -d "$folder" ] || install -d -m 0755 "$folder"
install -m 0640 "$1" "$folder/llm-proxy.conf"
