#!/bin/bash
#SBATCH --job-name=autovla-evaluate
#SBATCH --array=1-8
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --output=slurm/evaluate_%A_%a.log
#
# Eight tasks of a job array drive an eighth of the routes each, into one folder; no ray. The merge comes after all:
#
#     mkdir -p slurm
#     array=$(sbatch --parsable docs/examples/slurm_evaluate.sh)
#     sbatch --dependency=afterany:$array --array=1-1 --export=ALL,MERGE=1 docs/examples/slurm_evaluate.sh
#
# The same two commands continue whatever was not finished: a preempted task, a dead node, a time limit.
# Submit from the checkout, on a file system that all nodes share. With a GPU a task: add --gres=gpu:1.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?submit this file with sbatch}"

drive=(.venv/bin/python tools/evaluate_routes.py
    --routes leaderboard_configs/routes/havenbrook_test40.xml
    --agent agents/autovla_agent.py --agent-config leaderboard_configs/autovla_agent.yaml
    --seeds 0,1,2 --traffic 10 --out runs/slurm/vla.json)

if [ -n "${MERGE:-}" ]; then
    exec "${drive[@]}" --merge
fi
# exec: SIGTERM reaches the program, which stops its simulators; each worker has a simulator of its own
exec "${drive[@]}" --workers 2 --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
