#!/bin/bash
#SBATCH --job-name=autovla-ray
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=64G
#SBATCH --time=12:00:00
#SBATCH --output=slurm/ray_%j.log
#
# One ray cluster for the time of the job, and the evaluator on its first node:
#
#     mkdir -p slurm
#     sbatch docs/examples/slurm_ray.sh
#
# The same command continues. The token keeps others out: whoever reaches a cluster without one can run code on it.
# Submit from the checkout, on a file system that all nodes share.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?submit this file with sbatch}"

RAY_AUTH_TOKEN=$(.venv/bin/python -c "import secrets; print(secrets.token_hex(32))")
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 --nodelist="$first" hostname --ip-address | awk '{print $1}')
port=$((20000 + SLURM_JOB_ID % 10000)) # two jobs may share a node

srun --nodes=1 --ntasks=1 --overlap --nodelist="$first" \
    .venv/bin/ray start --head --node-ip-address="$address" --port="$port" --num-cpus="$SLURM_CPUS_PER_TASK" \
    --include-dashboard=false --disable-usage-stats --temp-dir="/tmp/ray_$SLURM_JOB_ID" --block &
until .venv/bin/ray status --address="$address:$port" > /dev/null 2>&1; do sleep 2; done
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    srun --nodes=$((SLURM_JOB_NUM_NODES - 1)) --ntasks=$((SLURM_JOB_NUM_NODES - 1)) --overlap --exclude="$first" \
        .venv/bin/ray start --address="$address:$port" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
fi

srun --nodes=1 --ntasks=1 --overlap --nodelist="$first" .venv/bin/python tools/evaluate_routes.py \
    --routes leaderboard_configs/routes/havenbrook_test40.xml \
    --agent agents/autovla_agent.py --agent-config leaderboard_configs/autovla_agent.yaml \
    --seeds 0,1,2 --traffic 10 --out runs/slurm/vla.json \
    --ray "$address:$port" --workers $((SLURM_JOB_NUM_NODES * SLURM_CPUS_PER_TASK / 2)) --ray-cpus 2
