#!/usr/bin/env bash
# The stages of the paper in miniature, by the `mini-*` recipes: the tables in src/seit/recipes/README.md.
#
#   bash experiments/mini_stages.sh TINY OUT [CIFAR]
#
# TINY: tiny-imagenet-50, as scripts/tiny_imagenet_50.py writes it. CIFAR: images of CIFAR-10; the embedded sample
# (6,000 + 1,000 of them) by default. Every fifth class by id goes to tiny10, the others to tiny40.
# One thread a run, one run at a time. A second call goes on where the first stopped.
set -euo pipefail
tiny=$1 out=$2 cifar=${3:-sample}
export OMP_NUM_THREADS=1
mkdir -p "$out"
number=0
for folder in "$tiny"/train/*/; do
  class=$(basename "$folder")
  part=tiny40; [ $((number % 5)) = 4 ] && part=tiny10
  for split in train val; do
    mkdir -p "$out/$part/$split"
    [ -e "$out/$part/$split/$class" ] || cp -r "$tiny/$split/$class" "$out/$part/$split/"
  done
  number=$((number + 1))
done
tokenize() { [ -d "$out/$2" ] || seit tokenize "$1" "$out/$2" --tokenizer patch4 --size 64; }
train() { # RUN DATA RECIPE [OPTION...]
  local run=$out/runs/$1 data=$2 recipe=$3; shift 3
  seit train "$data" --out "$run" --recipe "$recipe" "$@"
}
tokenize "$out/tiny40" tiny40.tokens
tokenize "$out/tiny10" tiny10.tokens
train stage1 "$out/tiny40.tokens" mini-pretrain
for seed in 0 1 2; do
  set=(--set "seed=$seed")
  train "stage2-$seed" "$out/tiny10.tokens" mini-finetune --from "$out/runs/stage1" "${set[@]}"
  # the same steps from nothing, by the recipe that stage 1 was trained with
  train "ids-$seed" "$out/tiny10.tokens" mini-pretrain --set epochs=10 "${set[@]}"
  train "stage3-$seed" "$out/tiny10" mini-pixels-finetune --from "$out/runs/stage2-$seed" "${set[@]}"
  # the same steps from nothing, at the learning rate of stage 3 and at that of the recipe `mini`
  train "pixels-$seed" "$out/tiny10" mini-pixels-finetune "${set[@]}"
  train "pixels-fast-$seed" "$out/tiny10" mini-pixels-finetune --set learning_rate=0.003 "${set[@]}"
done
tokenize "$cifar" cifar.tokens
for seed in 0 1 2; do
  set=(--set "seed=$seed")
  train "transfer-$seed" "$out/cifar.tokens" mini-transfer --from "$out/runs/stage1" "${set[@]}"
  train "cifar-$seed" "$out/cifar.tokens" mini-transfer --set learning_rate=0.003 "${set[@]}"
done
seit runs "$out/runs"
