#!/bin/sh
# One episode of CartPole with curl: push left and right in turn.
set -eu
url=${1:-http://127.0.0.1:5000}/v1/envs
json='Content-Type: application/json'

instance=$(curl -fsS -X POST "$url/" -H "$json" -d '{"env_id": "CartPole-v1", "seed": 0}' |
    sed 's/.*"instance_id":"\([0-9a-f]*\)".*/\1/')
curl -fsS -X POST "$url/$instance/reset/" > /dev/null

steps=0 reply=
while ! echo "$reply" | grep -q '"done":true'; do
    reply=$(curl -fsS -X POST "$url/$instance/step/" -H "$json" -d "{\"action\": $((steps % 2))}")
    steps=$((steps + 1))
done
curl -fsS -X POST "$url/$instance/close/"
echo "$steps steps"
