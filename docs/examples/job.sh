#!/bin/bash
#SBATCH --job-name=long
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@60
# Starts the run, or goes on with it.
if [ -d logs/long ]; then
    exec gym-loop train -c long.yaml --resume long
fi
exec gym-loop train -c long.yaml --name long
