"""A two-layer convolutional network on handwritten digits.

On a cluster the variables live on /job:ps, /job:worker/task:0 trains and /job:worker/task:1 tests.
"""

import argparse
import collections
import os
import time

import digits
from tqdm import tqdm

import flowray as tf

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--target", default="", help="grpc://host:port of a cluster; default: here")
parser.add_argument("--steps", type=int, default=200)
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--logdir", default="out/digits_cnn", help="for TensorBoard and the loss curve")
args = parser.parse_args()

VARIABLE_OPS = ("Variable", "VariableV2", "VarHandleOp")


def on_worker(task):
    """Variables on the parameter server, everything else on one worker."""
    if not args.target:
        return ""
    return lambda op: "/job:ps/task:0" if op.type in VARIABLE_OPS else f"/job:worker/task:{task}"


def weight_variable(shape):
    return tf.get_variable(
        "weights", shape, initializer=tf.truncated_normal_initializer(stddev=0.1)
    )


def bias_variable(shape):
    return tf.get_variable("biases", shape, initializer=tf.constant_initializer(0.1))


def conv2d(x, W):
    return tf.nn.conv2d(x, W, strides=[1, 1, 1, 1], padding="SAME")


def max_pool_2x2(x):
    return tf.nn.max_pool(x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME")


def network(images):
    with tf.variable_scope("conv1"):
        h = tf.nn.relu(conv2d(images, weight_variable([5, 5, 3, 32])) + bias_variable([32]))
        h = max_pool_2x2(h)
    with tf.variable_scope("conv2"):
        h = tf.nn.relu(conv2d(h, weight_variable([5, 5, 32, 64])) + bias_variable([64]))
        h = max_pool_2x2(h)
    with tf.variable_scope("dense"):
        h = tf.reshape(h, [-1, 7 * 7 * 64])
        h = tf.nn.relu(tf.matmul(h, weight_variable([7 * 7 * 64, 1024])) + bias_variable([1024]))
    with tf.variable_scope("readout"):
        return tf.matmul(h, weight_variable([1024, 10])) + bias_variable([10])


def print_placement(metadata):
    """Says which task ran how many of which ops."""
    by_task = collections.defaultdict(collections.Counter)
    for partition in metadata.partition_graphs:
        for node in partition.node:
            by_task[node.device.split("/device:")[0]][node.op] += 1
    for task, ops in sorted(by_task.items()):
        common = ", ".join(f"{n} {op}" for op, n in ops.most_common(6))
        print(f"  {task}: {sum(ops.values())} ops ({common}, ...)")


def plot(losses, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    axes.plot(losses)
    axes.set(xlabel="step", ylabel="cross entropy", yscale="log", title="CNN on digits")
    figure.tight_layout()
    figure.savefig(path)


(train_images, train_labels), (test_images, test_labels) = digits.load(channels=3)

tf.set_random_seed(1)
with tf.device(on_worker(0)):
    x = tf.placeholder(tf.float32, [None, 28, 28, 3], name="images")
    y_ = tf.placeholder(tf.float32, [None, 10], name="labels")
    with tf.variable_scope("model"):
        logits = network(x)
    loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(labels=y_, logits=logits))
    train_step = tf.train.AdamOptimizer(1e-3).minimize(loss)
with tf.device(on_worker(1)):
    with tf.variable_scope("model", reuse=True):
        test_logits = network(x)
    correct = tf.equal(tf.argmax(test_logits, 1), tf.argmax(y_, 1))
    accuracy = tf.reduce_mean(tf.cast(correct, tf.float32))

with tf.Session(args.target) as sess:
    sess.run(tf.global_variables_initializer())
    writer = tf.summary.FileWriter(args.logdir, sess.graph)
    data = digits.batches(train_images, train_labels, args.batch)

    options = tf.RunOptions(output_partition_graphs=True)
    metadata = tf.RunMetadata()
    batch_x, batch_y = next(data)
    sess.run(train_step, {x: batch_x, y_: batch_y}, options=options, run_metadata=metadata)
    print("A training step runs on")
    print_placement(metadata)

    losses = []
    start = time.time()
    with tqdm(range(args.steps), unit="step") as progress:
        for step in progress:
            batch_x, batch_y = next(data)
            value, _ = sess.run([loss, train_step], {x: batch_x, y_: batch_y})
            losses.append(value)
            progress.set_postfix(loss=f"{value:.4f}")
            summary = tf.Summary(value=[tf.Summary.Value(tag="loss", simple_value=value)])
            writer.add_summary(summary, step)
    print(f"{args.steps} steps, {args.steps / (time.time() - start):.1f} steps/s")

    result = sess.run(accuracy, {x: test_images, y_: test_labels})
    writer.add_summary(
        tf.Summary(value=[tf.Summary.Value(tag="accuracy", simple_value=result)]), args.steps
    )
    writer.close()
    curve = os.path.join(args.logdir, "loss.png")
    plot(losses, curve)
    print(f"loss curve: {curve}; events for TensorBoard: {args.logdir}")
    print(f"accuracy on {len(test_images)} held-out digits: {result:.1%}")
    if result < 0.97:
        raise SystemExit("expected at least 97 %")
