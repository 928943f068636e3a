#!/usr/bin/env bash
# All that this library has to show on a real GPU, in one run of at most 8 minutes and without network: builds, compares
# bits with the CPU's, runs the tests, measures, runs compute-sanitizer, and prints a short table last.
#
#   bench/gpu.sh [--dry-run] [FOLDER]
#
# Logs and gpu.json are written to FOLDER (build/gpu where none is given). --dry-run does it on the emulated device of the
# tests, which has no golden hashes, and whose own checks take the sanitizer's place: its figures mean nothing.
#
# A step that fails or takes too long does not keep the next from running, as long as there is time for it; the exit
# status tells.
set -uo pipefail
cd "$(dirname "$0")/.."

export NO_COLOR=1
dry_run=
if [ "${1:-}" = --dry-run ]; then
  dry_run=1
  shift
fi
results=${1:-build/gpu}
mkdir -p "$results"
results=$(cd "$results" && pwd)
programs=build/programs
summary=()
failed=0

# step SECONDS NAME COMMAND...: the command's output goes to a log, of which the end is shown if it fails.
step() {
  local seconds=$1 name=$2 begin=$SECONDS status=0 left=$((475 - SECONDS))
  shift 2
  if [ "$left" -lt "$seconds" ]; then seconds=$((left > 1 ? left : 1)); fi
  printf '== %s (after %s s)\n' "$name" "$SECONDS"
  timeout --kill-after=5 "$seconds" "$@" > "$results/$name.log" 2>&1 || status=$?
  if [ "$status" -ne 0 ]; then
    failed=1
    tail -n 30 "$results/$name.log"
  fi
  local last
  last=$(grep -E 'comparisons,|trees,|Tests |ERROR SUMMARY|RACECHECK SUMMARY|lines equal' "$results/$name.log" | tail -n 1)
  summary+=("$(printf '%-12s status %-3s %4s s  %s' "$name" "$status" "$((SECONDS - begin))" "$last")")
}

same_hashes() {
  grep -v '^#' test/native/golden_hashes.txt > "$results/expected.txt"
  "$1" > "$results/hashes.txt" && diff "$results/expected.txt" "$results/hashes.txt" &&
    echo "$(wc -l < "$results/hashes.txt") lines equal"
}
export results
export -f same_hashes

sanitize() {
  step 60 "$1" compute-sanitizer --tool "$1" --error-exitcode 9 "$programs/cuda_bits" few
}

[ -n "$dry_run" ] || nvidia-smi || exit 1
step 240 build npm run ensure-built
step 30 doctor node dist/cli.js doctor
if [ -n "$dry_run" ]; then
  step 60 bits "$programs/cuda_bits_emulated" few
  step 100 tests npm exec -- vitest run --project=emulated-sm_90 test/cuda
else
  step 60 bits "$programs/cuda_bits" quick lesser
  step 30 golden bash -c 'same_hashes build/programs/golden_hashes_cuda'
  step 30 warp-tree "$programs/warp_tree"
  step 100 tests npm run --silent test:gpu
fi
step 330 bench node bench/gpu.mjs ${dry_run:+--dry-run} ${PEER_SECONDS:+--peer-seconds $PEER_SECONDS} --json "$results/gpu.json"
if [ -z "$dry_run" ]; then
  # Racing for shared memory, memory nobody wrote, addresses out of bounds: small arrays show all of it.
  for tool in memcheck racecheck initcheck synccheck; do sanitize "$tool"; done
fi

tail -n 14 "$results/bench.log"
printf '%s\n' "${summary[@]}"
exit "$failed"
