#!/bin/sh
# Writes a Docker Compose file with the server and N agencies: ./generar-compose.sh docker-compose-dev.yaml 5
# It finds a Python that has PyYAML: that of .venv if there is one, else one of the host.
here=$(dirname "$(readlink -f "$0")")
for python in "$here/.venv/bin/python" python3 /usr/bin/python3; do
    if "$python" -c 'import yaml' 2>/dev/null; then
        exec "$python" "$here/src/bets_server/compose.py" "$@"
    fi
done
echo "generar-compose.sh: found no Python 3 with the package PyYAML: python3 -m pip install PyYAML" >&2
exit 2
