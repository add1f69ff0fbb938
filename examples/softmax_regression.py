"""Softmax regression on handwritten digits, as in the tutorial: cross entropy by hand."""

import argparse

import digits

import flowray as tf

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--target", default="", help="grpc://host:port of a cluster; default: here")
parser.add_argument("--steps", type=int, default=500)
args = parser.parse_args()

(train_images, train_labels), (test_images, test_labels) = digits.load()

x = tf.placeholder(tf.float32, [None, 784])
W = tf.Variable(tf.zeros([784, 10]))
b = tf.Variable(tf.zeros([10]))
y = tf.nn.softmax(tf.matmul(x, W) + b)
y_ = tf.placeholder(tf.float32, [None, 10])
cross_entropy = tf.reduce_mean(-tf.reduce_sum(y_ * tf.log(y), reduction_indices=[1]))
train_step = tf.train.GradientDescentOptimizer(0.5).minimize(cross_entropy)
correct = tf.equal(tf.argmax(y, 1), tf.argmax(y_, 1))
accuracy = tf.reduce_mean(tf.cast(correct, tf.float32))

with tf.Session(args.target) as sess:
    sess.run(tf.global_variables_initializer())
    data = digits.batches(train_images.reshape(-1, 784), train_labels, 100)
    for step in range(args.steps):
        batch_x, batch_y = next(data)
        loss, _ = sess.run([cross_entropy, train_step], {x: batch_x, y_: batch_y})
        if step % 100 == 0:
            print(f"step {step:4d}  loss {loss:.4f}")
    held_out = {x: test_images.reshape(-1, 784), y_: test_labels}
    print(f"accuracy on {len(test_images)} held-out digits: {sess.run(accuracy, held_out):.1%}")
