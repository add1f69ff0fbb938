"""The textbook's first distributed graph: two constants on one task, their product on another."""

import argparse

import flowray as tf

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--target", default="", help="grpc://host:port of a cluster; default: here")
args = parser.parse_args()

# Without a cluster there is one task, and no job to name.
here, there = ("/job:worker/task:0", "/job:worker/task:1") if args.target else ("", "")

with tf.device(here):
    matrix1 = tf.constant([[3.0, 3.0]])
    matrix2 = tf.constant([[2.0], [2.0]])
with tf.device(there):
    product = tf.matmul(matrix1, matrix2)

options = tf.RunOptions(output_partition_graphs=True)
metadata = tf.RunMetadata()
with tf.Session(args.target) as sess:
    print(sess.run(product, options=options, run_metadata=metadata))
    for partition in metadata.partition_graphs:
        for node in partition.node:
            print(f"  {node.device}: {node.name} ({node.op})")
