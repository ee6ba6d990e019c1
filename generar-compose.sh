#!/bin/sh
# Writes a Docker Compose file with the server and N agencies: ./generar-compose.sh docker-compose-dev.yaml 5
# It needs a Python 3 and nothing else. One with PyYAML writes the usual notation, so it looks for that first.
here=$(dirname "$(readlink -f "$0")")
for needs in yaml json; do
    for python in "$here/.venv/bin/python" python3 /usr/bin/python3; do
        if "$python" -c "import sys, $needs; sys.exit(sys.version_info < (3, 8))" 2>/dev/null; then
            exec "$python" "$here/src/bets_server/deploy/compose.py" "$@"
        fi
    done
done
echo "generar-compose.sh: found no Python 3.8 or later: apt-get install python3 (Debian, Ubuntu)," \
    "dnf install python3 (Fedora), xcode-select --install (macOS)" >&2
exit 2
