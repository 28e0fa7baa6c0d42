#!/usr/bin/env bash
# The papers' studies on the GPUs of this machine, one after another, each by its own recipe, with its report and the
# time that it took.
#   scripts/papers_on_gpu.sh [override of all of them ...]      such as seed=0,1,2,3,4
# JOBS: side by side on a GPU (default 4). STUDIES: which (default: all but house numbers, which need your copy of SVHN).
# The same command again goes on where it was interrupted. Exit status 1 if a run has failed; the others are done.
set -uo pipefail
cd "$(dirname "$0")/.."
studies=${STUDIES:-jaderberg_table1 jaderberg_cluttered jaderberg_addition placement rotation_scale calibration generalisation}
jobs=${JOBS:-4}
gpus=$(.venv/bin/python -c 'import torch; print(torch.cuda.device_count())')
if [ "$gpus" = 0 ]; then
  echo "error: torch finds no GPU here; on a CPU train one study at a time, as docs/reproduce.md says" >&2
  exit 1
fi
failed=0
for study in $studies; do
  SECONDS=0
  .venv/bin/python -m stnlab.train ablation="$study" hydra/launcher=parallel hydra.launcher.n_jobs=$((jobs * gpus)) \
    hydra.launcher.jobs_per_device="$jobs" callbacks=quiet logger=none "$@" || failed=1
  echo "$study: $((SECONDS / 60)) min $((SECONDS % 60)) s"
  .venv/bin/python -m stnlab.report "runs/$study" || failed=1
done
exit $failed
