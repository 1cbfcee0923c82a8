"""What a client of NVFlare does in a round: MONAI's MonaiAlgo trains a bundle from the server's weights.

The package monai-nvflare has an executor of its own, for NVFlare up to 2.3; NVFlare is imported here alone.
"""

from __future__ import annotations

from typing import Any

import torch
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems
from monai.fl.utils.exchange_object import ExchangeObject
from nvflare.apis.dxo import DXO, DataKind, MetaKey, from_shareable
from nvflare.apis.event_type import EventType
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import FLContextKey, ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal


class BundleExecutor(Executor):
    """Trains a bundle on a client's own data.

    Args:
        bundle: the bundle's folder.
        settings: of ``train.json``, by name; the folders of weights and outputs are the client's own in any case.
        local_epochs: epochs of a round.
    """

    def __init__(self, bundle: str, settings: dict[str, Any], local_epochs: int = 1) -> None:
        super().__init__()
        self.bundle, self.settings, self.local_epochs = bundle, settings, local_epochs
        self.algo: MonaiAlgo | None = None

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """Build the training when the run starts, and end it with the run."""
        if event_type == EventType.START_RUN:
            own = fl_ctx.get_prop(FLContextKey.APP_ROOT)
            folders = {"bundle_root": self.bundle, "ckpt_dir": f"{own}/models", "output_dir": f"{own}/output"}
            self.algo = MonaiAlgo(
                self.bundle,
                self.local_epochs,
                send_weight_diff=False,
                train_kwargs={**self.settings, **folders},
                config_evaluate_filename=None,
            )
            self.algo.initialize({ExtraItems.CLIENT_NAME: fl_ctx.get_identity_name()})
        elif event_type == EventType.END_RUN and self.algo is not None:
            self.algo.finalize()

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """One round.

        Returns:
            The client's weights, and the number of its steps, by which they count.
        """
        if task_name != "train":
            return make_reply(ReturnCode.TASK_UNKNOWN)
        assert self.algo is not None, "the run has started"
        self.algo.train(ExchangeObject(weights=from_shareable(shareable).data))
        found = self.algo.get_weights()
        weights = {name: torch.as_tensor(value).cpu().numpy() for name, value in found.weights.items()}
        steps = found.statistics.get("num_executed_iterations", 1)
        meta = {MetaKey.NUM_STEPS_CURRENT_ROUND: steps}
        return DXO(DataKind.WEIGHTS, data=weights, meta=meta).to_shareable()
