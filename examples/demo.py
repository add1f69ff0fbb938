"""The main job (``make demo``): a local cluster of 1 ps and 2 workers, and three graphs on it.

Starts ``flowray up``, runs the three example programs as separate client processes against it, and
ends it again. The examples are plain TensorFlow 1 code but for ``import flowray as tf``.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
UP = [sys.executable, "-m", "flowray.deploy.cli", "up", "--job", "ps=1", "--job", "worker=2"]
EXAMPLES = [
    ("matmul.py", "Two constants on one worker, their product on another"),
    ("softmax_regression.py", "Softmax regression, variables where the master puts them"),
    ("digits_cnn.py", "A CNN: variables on the ps, training on one worker, testing on another"),
]


def start_cluster():
    """Starts ``flowray up`` and returns its process and its target."""
    print("$ flowray up --job ps=1 --job worker=2", flush=True)
    process = subprocess.Popen([*UP, "--port", "0"], stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        print(line, end="", flush=True)
        match = re.match(r"target: (grpc://\S+)", line)
        if match:
            return process, match.group(1)
    raise SystemExit("flowray up ended before it served")


def main():
    start = time.time()
    cluster, target = start_cluster()
    try:
        for script, what in EXAMPLES:
            print(f"\n--- {what}\n$ python examples/{script} --target {target}", flush=True)
            subprocess.run(
                [sys.executable, str(HERE / script), "--target", target],
                check=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
    finally:
        cluster.send_signal(signal.SIGINT)
        cluster.wait(30)
    print(f"\nAll done in {time.time() - start:.0f} s. tensorboard --logdir out shows the run.")


if __name__ == "__main__":
    main()
