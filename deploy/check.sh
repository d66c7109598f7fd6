#!/usr/bin/env bash
# Everything that must hold of the template, with the tools that people deploy it with. Installs what
# it needs into `.venv` (and, as root on Debian, with apt-get); nothing global is assumed but Rust and
# Python 3.11 or later. Leaves the artefact in `.aws-sam`.
#
# PROTON_CANCELLER_CALL_LOG may name the log of calls that the test suites saw the binary make: run them
# first, with the same variable set, to a path that is absolute.
set -euo pipefail
cd "$(dirname "$0")/.."

export AWS_DEFAULT_REGION=us-east-1 SAM_CLI_TELEMETRY=0 PYTHONDONTWRITEBYTECODE=1
# No step calls AWS; nobody's credentials are to be found.
unset AWS_PROFILE AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_ENDPOINT_URL
target=${CARGO_TARGET_DIR:-target}
out=$target/deploy
mkdir -p "$out"

step() { printf '\n== %s\n' "$*"; }

# Makes .venv/NAME from deploy/requirements/NAME.txt, and again when that file changes.
venv() {
    local folder=.venv/$1 requirements=deploy/requirements/$1.txt
    cmp -s "$requirements" "$folder/requirements.txt" && return
    python3 -c 'import ensurepip, venv' 2>/dev/null || {
        apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
    }
    rm -rf "$folder"
    python3 -m venv "$folder"
    "$folder/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$requirements"
    "$folder/bin/pip" check --disable-pip-version-check
    cp "$requirements" "$folder/requirements.txt"
}

step "Tools, pinned in deploy/requirements"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed" >&2 && exit 1; }
for name in sam checkov tests; do venv $name; done
# What an output's command needs.
command -v jq >/dev/null || apt-get install -y -qq --no-install-recommends jq >/dev/null
sam=$PWD/.venv/sam/bin
tests=$PWD/.venv/tests/bin
# cargo-lambda finds Zig by the first `python3`.
export PATH=$sam:$PATH
sam --version
cargo lambda --version

step "sam validate --lint"
sam validate --lint

step "cfn-lint, informational rules included"
cfn-lint --include-checks I --template template.yaml deploy/schema-registry.yaml deploy/examples/*.yaml
echo clean

step "checkov: the template as written, as transformed, and with each engine as CloudFormation resolves it"
"$tests/python" deploy/tests/stack.py "$out"
for template in template.yaml "$out"/{transformed,proton,cloudformation}.json; do
    .venv/checkov/bin/checkov --file "$template" --framework cloudformation --skip-download --compact --quiet
done

case $(uname -m) in
x86_64) architecture=x86_64 emulator=aws-lambda-rie-x86_64 ;;
aarch64 | arm64) architecture=arm64 emulator=aws-lambda-rie-arm64 ;;
*) echo "Lambda has no architecture $(uname -m)" >&2 && exit 1 ;;
esac

step "sam build, $architecture: once for both functions"
sam build --parameter-overrides Architecture=$architecture Engine=proton AlarmNamePrefix=rollback- 2>&1 | tee "$out/build.log"
[ "$(grep -c ':CargoLambdaBuild' "$out/build.log")" = 1 ]
file=.aws-sam/build/Function/bootstrap
ls -l $file
cmp $file .aws-sam/build/Follower/bootstrap

step "The artefact under the runtime interface emulator, against the local AWS"
cargo build --quiet --package local-aws
"$tests/python" deploy/rie.py --bootstrap "$PWD/$file" --template .aws-sam/build/template.yaml \
    --rie "$(echo "$PWD"/.venv/sam/lib/python3*/site-packages/samcli/local/rapid/$emulator)" \
    --local-aws "$target/debug/local-aws" --out "$out"

step "The transformed template against the binary, its calls, its log and the samples"
[ -n "${PROTON_CANCELLER_CALL_LOG:-}" ] ||
    echo "PROTON_CANCELLER_CALL_LOG is not set: the calls are those of the runs above"
PROTON_CANCELLER_BINARY=$PWD/$file PROTON_CANCELLER_RUNS=$(realpath "$out") "$tests/python" -m pytest -q -p no:cacheprovider deploy/tests

step "sam local invoke, as docs/deploy.md has it"
LOCAL_AWS=$(realpath "$target/debug/local-aws") deploy/sam-local.sh
