#!/bin/sh
# Says whether the server sends back what it is sent. Netcat runs in a throw-away container on the system's network.
network=${BETS_NETWORK:-tp0_testing_net}
image=${BETS_NETCAT_IMAGE:-busybox:latest}

line="echo $$ $(date +%s)"
# The answer counts, not how netcat ends: a server may leave the connection open.
answer=$(docker run --rm --network "$network" "$image" \
    sh -c 'printf "%s\n" "$1" | timeout 10 nc server 12345' sh "$line" </dev/null 2>/dev/null)

if [ "$answer" = "$line" ]; then
    echo 'action: test_echo_server | result: success'
else
    echo 'action: test_echo_server | result: fail'
    exit 1
fi
