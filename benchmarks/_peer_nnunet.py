"""nnU-Net v2 (2-D, sparse labels by its ignore label) for `peers.py`; run in its own environment.

Its own fingerprint, plan, preprocessing, network, loss, augmentation and inference. Changed are:
it trains for a limited time instead of 250,000 steps, with its schedule of learning rates over that
time; a batch has eight slices (the plan would fill a GPU, and half an hour of a CPU would be a few
steps); all cases with clean slices are training cases, and nothing is validated.
"""

import argparse
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _peer
import numpy as np

BATCH = 8


def main() -> None:
    options = _peer.arguments()
    folder, now = options.folder, _peer.clock(options)
    set_up(options)
    ready = folder / "prepared.json"
    if not ready.exists():
        prepare(options.threads)
        ready.write_text(json.dumps({"seconds": now()}))
    prepared_s = json.loads(ready.read_text())["seconds"]
    # By the processor's clock training has no other process: only ended ones are counted.
    workers = options.threads - 1 if options.clock == "wall" else 0
    os.environ |= {"nnUNet_n_proc_DA": str(workers)}
    trainer = trainer_for(folder)
    began = now()
    steps = train(trainer, now, 60 * options.mark - prepared_s)
    trained = now()
    found = predicted(trainer, folder) if steps else {}
    about = {
        "steps": steps,
        "prepared_min": prepared_s / 60,
        "trained_min": (prepared_s + trained - began) / 60,
        "labels_min": (prepared_s + now() - began) / 60 if found else None,
        "plan": plan_of(trainer),
    }
    _peer.write(folder, options.mark, found, **about)


def set_up(options: argparse.Namespace) -> None:
    """Where nnU-Net finds its folders, and how many processes it may use."""
    names = ("raw", "preprocessed", "results")
    os.environ.update({f"nnUNet_{name}": str(options.folder / name) for name in names})
    processes = str(options.threads)
    os.environ |= {"nnUNet_n_proc_DA": processes, "nnUNet_def_n_proc": processes}
    import torch

    torch.set_num_threads(options.threads)
    random.seed(options.seed)
    np.random.seed(options.seed)
    torch.manual_seed(options.seed)


def prepare(processes: int) -> None:
    """Fingerprint, plan and preprocessing, as the command for it does."""
    from nnunetv2.experiment_planning import plan_and_preprocess_api as api

    api.extract_fingerprints([1], num_processes=processes)
    plans = api.plan_experiments([1])
    api.preprocess([1], plans, ("2d",), (processes,))


def trainer_for(folder: Path) -> Any:
    """nnU-Net's trainer with a smaller batch, ready to train."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    preprocessed = folder / "preprocessed" / _peer.DATASET
    plans = json.loads((preprocessed / "nnUNetPlans.json").read_text())
    plan = plans["configurations"]["2d"]
    plan["planned_batch_size"], plan["batch_size"] = plan["batch_size"], BATCH
    plans["continue_training"] = False
    dataset = json.loads((preprocessed / "dataset.json").read_text())
    trainer = nnUNetTrainer(plans, "2d", "all", dataset, torch.device("cpu"))
    trainer.initialize()
    return trainer


def train(trainer: Any, now: Callable[[], float], seconds: float) -> int:
    """Train for some time; returns how many steps that were."""
    began, steps = now(), 0
    if seconds <= 0:
        return 0
    trainer.on_train_start()
    trainer.network.train()
    while (share := (now() - began) / seconds) < 1:
        for group in trainer.optimizer.param_groups:
            group["lr"] = trainer.initial_lr * (1 - share) ** 0.9
        trainer.train_step(next(trainer.dataloader_train))
        steps += 1
    for loader in (trainer.dataloader_train, trainer.dataloader_val):
        if hasattr(loader, "_finish"):
            loader._finish()
    return steps


def predicted(trainer: Any, folder: Path) -> dict[str, Any]:
    """The labels of every case, by nnU-Net's own inference: tiles that overlap, mirror images."""
    import torch
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    trainer.set_deep_supervision_enabled(False)
    trainer.network.eval()
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        trainer.dataset_json,
        type(trainer).__name__,
        trainer.inference_allowed_mirroring_axes,
    )
    found = {}
    for name, path in _peer.images(folder).items():
        image, properties = SimpleITKIO().read_images([str(path)])
        found[name] = predictor.predict_single_npy_array(image, properties).astype(np.uint8)
    return found


def plan_of(trainer: Any) -> dict[str, Any]:
    """What nnU-Net has planned, for the record."""
    plan = trainer.configuration_manager.configuration
    kept = ("patch_size", "planned_batch_size", "batch_size", "spacing")
    features = plan["architecture"]["arch_kwargs"]["features_per_stage"]
    return {name: plan[name] for name in kept} | {"features": features}


if __name__ == "__main__":  # nnU-Net starts processes that import this file
    main()
