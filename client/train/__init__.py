"""``tf.train``: optimizers, learning rates, the global step, averages of variables."""

from __future__ import annotations

from flowray.client.train.adadelta import AdadeltaOptimizer
from flowray.client.train.adagrad import AdagradOptimizer
from flowray.client.train.adagrad_da import AdagradDAOptimizer
from flowray.client.train.adam import AdamOptimizer
from flowray.client.train.ftrl import FtrlOptimizer
from flowray.client.train.gradient_descent import GradientDescentOptimizer
from flowray.client.train.learning_rate_decay import (
    cosine_decay,
    cosine_decay_restarts,
    exponential_decay,
    inverse_time_decay,
    linear_cosine_decay,
    natural_exp_decay,
    noisy_linear_cosine_decay,
    piecewise_constant,
    polynomial_decay,
)
from flowray.client.train.learning_rate_decay import piecewise_constant as piecewise_constant_decay
from flowray.client.train.momentum import MomentumOptimizer
from flowray.client.train.moving_averages import ExponentialMovingAverage
from flowray.client.train.optimizer import Optimizer
from flowray.client.train.proximal import (
    ProximalAdagradOptimizer,
    ProximalGradientDescentOptimizer,
)
from flowray.client.train.rmsprop import RMSPropOptimizer
from flowray.client.train.training_util import (
    assert_global_step,
    create_global_step,
    get_global_step,
    get_or_create_global_step,
    global_step,
)

__all__ = [
    "AdadeltaOptimizer",
    "AdagradDAOptimizer",
    "AdagradOptimizer",
    "AdamOptimizer",
    "ExponentialMovingAverage",
    "FtrlOptimizer",
    "GradientDescentOptimizer",
    "MomentumOptimizer",
    "Optimizer",
    "ProximalAdagradOptimizer",
    "ProximalGradientDescentOptimizer",
    "RMSPropOptimizer",
    "assert_global_step",
    "cosine_decay",
    "cosine_decay_restarts",
    "create_global_step",
    "exponential_decay",
    "get_global_step",
    "get_or_create_global_step",
    "global_step",
    "inverse_time_decay",
    "linear_cosine_decay",
    "natural_exp_decay",
    "noisy_linear_cosine_decay",
    "piecewise_constant",
    "piecewise_constant_decay",
    "polynomial_decay",
]
