#!/usr/bin/env bash
# `sam local invoke` for real: the documentation's own commands, run against the local AWS, with each engine.
#
# Expects what `sam build` made in .aws-sam, the SAM CLI on PATH and the local AWS's program in
# LOCAL_AWS. It starts a Docker daemon of its own on a socket, a network and a folder of its own, and
# makes a stand-in for the base image from files of this machine, so nothing is pulled. All of it is
# stopped and removed at the end. Where no daemon can be started, it says so and is skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

: "${LOCAL_AWS:?must name the local AWS program}"
base=public.ecr.aws/lambda/provided:al2023-x86_64
bridge=pc-sam-local
address=172.30.99.1
work=$(mktemp -d)
daemon= aws=

finish() {
    status=$?
    for process in $aws $daemon; do
        kill "$process" 2>/dev/null || true
        for _ in $(seq 40); do
            kill -0 "$process" 2>/dev/null || break
            sleep 0.5
        done
        kill -KILL "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    [ -z "${bridged:-}" ] || ip link delete "$bridge" 2>/dev/null || true
    # Docker leaves mounts where a container ended badly.
    grep -o "$work[^ ]*" /proc/mounts 2>/dev/null | sort -r | xargs -r umount 2>/dev/null || true
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

skip() {
    {
        echo
        echo "************************************************************************"
        echo "SKIPPED: sam local invoke was NOT tried. $1"
        echo "************************************************************************"
    } | tee /dev/stderr
    exit 0
}

[ "$(uname -sm)" = "Linux x86_64" ] || skip "The stand-in for the base image is made on Linux, x86_64."
[ "$(id -u)" = 0 ] || skip "A Docker daemon needs root."
if ! command -v dockerd >/dev/null || ! command -v ip >/dev/null || ! command -v curl >/dev/null || [ ! -x /bin/busybox ]; then
    command -v apt-get >/dev/null || skip "dockerd, ip, curl or busybox is missing, and there is no apt-get to install them."
    # A policy of 101 keeps Debian's package from starting a daemon of its own.
    policy=/usr/sbin/policy-rc.d
    [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && made_policy=1; }
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        docker.io busybox-static ca-certificates curl iproute2 >"$work/apt.log" 2>&1 || installed=no
    [ -z "${made_policy:-}" ] || rm -f $policy
    [ -z "${installed:-}" ] || { cat "$work/apt.log" && skip "docker.io cannot be installed."; }
fi

ip link delete "$bridge" 2>/dev/null || true # One that a killed run left.
{ ip link add name "$bridge" type bridge && bridged=1 && ip address add "$address/24" dev "$bridge" &&
    ip link set "$bridge" up; } || skip "No network bridge can be made."

export DOCKER_HOST="unix://$work/docker.sock"
dockerd --host "$DOCKER_HOST" --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/pid" \
    --bridge "$bridge" --iptables=false --ip6tables=false >"$work/dockerd.log" 2>&1 &
daemon=$!
for _ in $(seq 60); do
    docker info >/dev/null 2>&1 && break
    kill -0 $daemon 2>/dev/null || break
    sleep 0.5
done
docker info >/dev/null 2>&1 || { tail -n 5 "$work/dockerd.log" && skip "No Docker daemon can be started here."; }

# The stand-in: what a glibc binary and SAM's own build step need.
root=$work/root
mkdir -p "$root"/{bin,lib64,lib/x86_64-linux-gnu,etc/ssl/certs,tmp,var/rapid,var/runtime,var/task}
cp -L /bin/busybox "$root/bin/"
for applet in chmod mkdir mv sh; do ln -s busybox "$root/bin/$applet"; done
cp -L /lib64/ld-linux-x86-64.so.2 "$root/lib64/"
for library in libc.so.6 libm.so.6 libgcc_s.so.1 libpthread.so.0 libdl.so.2 librt.so.1 libnss_files.so.2 libnss_dns.so.2 libresolv.so.2; do
    cp -L "/lib/x86_64-linux-gnu/$library" "$root/lib/x86_64-linux-gnu/"
done
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
echo "hosts: files dns" >"$root/etc/nsswitch.conf"
tar -C "$root" -c . | docker import --change "ENV PATH=/bin" --change "WORKDIR /var/task" - "$base" >/dev/null

# The commands of docs/deploy.md, as they stand there, between two marks.
commands=$work/commands.sh
sed -n '/<!-- sam-local: begin -->/,/<!-- sam-local: end -->/{/^```/d;/<!--/d;p}' docs/deploy.md >"$commands"
grep -q "sam local invoke" "$commands" || { echo "docs/deploy.md has no commands for sam local invoke" >&2 && exit 1; }
export SAM_SKIP_PULL_IMAGE=1 AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local
sed 's/^/    /' "$commands"

# Runs the commands in the world of an engine: `try ENGINE SED-SCRIPT`, the second for what differs in them.
try() {
    local engine=$1 folder=$work/$1
    mkdir "$folder"
    "$LOCAL_AWS" serve --engine "$engine" --host "$address" --port 4599 >"$folder/aws.log" 2>&1 &
    aws=$!
    for _ in $(seq 60); do
        curl -fs "http://$address:4599/_local/calls" >/dev/null && break
        kill -0 $aws 2>/dev/null || { cat "$folder/aws.log" && exit 1; }
        sleep 0.5
    done
    sed "$2" "$commands" >"$folder/commands.sh"
    bash -euo pipefail "$folder/commands.sh" >"$folder/answers" 2>"$folder/log" || { cat "$folder/answers" "$folder/log" && exit 1; }
    for what in calls events environments stacks; do
        curl -fs "http://$address:4599/_local/$what" >"$folder/$what.json"
    done
    kill $aws
    wait $aws || true
    aws=
    python3 - "$engine" "$folder" <<'PYTHON'
import json, pathlib, sys

engine, folder = sys.argv[1], pathlib.Path(sys.argv[2])
text, answers, decoder = (folder / "answers").read_text(), [], json.JSONDecoder()
while text := text.lstrip():
    answer, end = decoder.raw_decode(text)
    answers.append(answer)
    text = text[end:]
# The follower answers with what it must read again: nothing, for the sample has ended.
follows = [answer for answer in answers if "batchItemFailures" in answer]
answers = [answer for answer in answers if answer not in follows]
for answer in answers:
    trigger = answer.get("trigger") or {}
    print(engine, trigger.get("kind"), {name: count for name, count in answer.get("counts", {}).items() if count} or answer)


def read(what):
    return json.loads((folder / f"{what}.json").read_text())


cancelled = {each["name"] for answer in answers for each in answer["environments"] if each["outcome"] == "CANCELLED"}
events = [json.loads(event["Detail"]) for event in read("events")]
told = {event["environment"]["name"] for event in events if event["outcome"] == "CANCELLED"}
world, status = {"proton": ("environments", "CANCELLED"), "cloudformation": ("stacks", "UPDATE_ROLLBACK_COMPLETE")}[engine]
states = {each["name"]: json.dumps(each) for each in read(world)}
assert {answer["trigger"]["kind"] for answer in answers} == {"alarm", "schedule", "request"}, answers
followed = {"lab-net"} if engine == "proton" else set()
assert follows == [{"batchItemFailures": []}] * len(followed), follows
assert cancelled and cancelled | followed == told, (cancelled, told)
assert all(f'"{status}"' in states[name] for name in cancelled), states
assert {each["service"] for each in read("calls")} == {engine, "events"}
print(f"cancelled in the local AWS, by the function in its container: {', '.join(sorted(cancelled))}")
PYTHON
}

try proton ''
# What the page says to change for stacks; the follower's sample names a Proton environment.
try cloudformation 's/Engine=proton/Engine=cloudformation/; s/"prod-net"/"AWSProton-prod-net"/; /Follower/d'
