from __future__ import print_function

import numpy as np
import tensorflow as tf


def weight_variable(shape):
    initial = tf.truncated_normal(shape, stddev=0.1)
    return tf.Variable(initial)


def bias_variable(shape):
    initial = tf.constant(0.1, shape=shape)
    return tf.Variable(initial)


def conv2d(x, W):
    return tf.nn.conv2d(x, W, strides=[1, 1, 1, 1], padding='SAME')


def max_pool_2x2(x):
    return tf.nn.max_pool(x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding='SAME')


def bars(count):
    """Images of a bright row or a bright column, and which of the two it is."""
    random = np.random.RandomState(0)
    images = 0.2 * random.rand(count, 14, 14)
    labels = random.randint(0, 2, count)
    for image, label in zip(images, labels):
        at = random.randint(0, 14)
        if label:
            image[at] += 0.8
        else:
            image[:, at] += 0.8
    return images.reshape(count, 196), np.eye(2)[labels]


tf.set_random_seed(1)
sess = tf.InteractiveSession()
x = tf.placeholder("float", shape=[None, 196])
y_ = tf.placeholder("float", shape=[None, 2])

W_conv1 = weight_variable([5, 5, 1, 8])
b_conv1 = bias_variable([8])
x_image = tf.reshape(x, [-1, 14, 14, 1])
h_conv1 = tf.nn.relu(conv2d(x_image, W_conv1) + b_conv1)
h_pool1 = max_pool_2x2(h_conv1)

W_conv2 = weight_variable([5, 5, 8, 16])
b_conv2 = bias_variable([16])
h_conv2 = tf.nn.relu(conv2d(h_pool1, W_conv2) + b_conv2)
h_pool2 = max_pool_2x2(h_conv2)

W_fc1 = weight_variable([4 * 4 * 16, 64])
b_fc1 = bias_variable([64])
h_pool2_flat = tf.reshape(h_pool2, [-1, 4 * 4 * 16])
h_fc1 = tf.nn.relu(tf.matmul(h_pool2_flat, W_fc1) + b_fc1)
keep_prob = tf.placeholder("float")
h_fc1_drop = tf.nn.dropout(h_fc1, keep_prob)

W_fc2 = weight_variable([64, 2])
b_fc2 = bias_variable([2])
y_conv = tf.nn.softmax(tf.matmul(h_fc1_drop, W_fc2) + b_fc2)

cross_entropy = -tf.reduce_sum(y_ * tf.log(tf.clip_by_value(y_conv, 1e-10, 1.0)))
train_step = tf.train.AdamOptimizer(1e-3).minimize(cross_entropy)
correct_prediction = tf.equal(tf.argmax(y_conv, 1), tf.argmax(y_, 1))
accuracy = tf.reduce_mean(tf.cast(correct_prediction, "float"))
sess.run(tf.global_variables_initializer())
images, labels = bars(400)
for i in range(60):
    batch = slice(50 * (i % 6), 50 * (i % 6 + 1))
    train_step.run(feed_dict={x: images[batch], y_: labels[batch], keep_prob: 0.5})
held_out = {x: images[300:], y_: labels[300:], keep_prob: 1.0}
print("accuracy above 95 %:", accuracy.eval(feed_dict=held_out) > 0.95)
