import numpy as np
import tensorflow as tf

flags = tf.app.flags
flags.DEFINE_integer("steps", 60, "How many steps to train.")
flags.DEFINE_string("logdir", "", "Where summaries go.")
FLAGS = flags.FLAGS


def digits(count, seed):
    """Ten sparse patterns of 28 x 28 pixels, with noise."""
    patterns = np.random.RandomState(0).rand(10, 784) < 0.05
    random = np.random.RandomState(seed)
    labels = random.randint(0, 10, count)
    images = 0.5 * patterns[labels] + 0.2 * random.rand(count, 784)
    return images.clip(0, 1), np.eye(10)[labels]


def main(_):
    x = tf.placeholder(tf.float32, [None, 784])
    W = tf.Variable(tf.zeros([784, 10]))
    b = tf.Variable(tf.zeros([10]))
    y = tf.nn.softmax(tf.matmul(x, W) + b)
    y_ = tf.placeholder(tf.float32, [None, 10])
    cross_entropy = tf.reduce_mean(-tf.reduce_sum(y_ * tf.log(y), reduction_indices=[1]))
    tf.summary.scalar("cross_entropy", cross_entropy)
    summaries = tf.summary.merge_all()
    train_step = tf.train.GradientDescentOptimizer(0.5).minimize(cross_entropy)
    init = tf.initialize_all_variables()

    sess = tf.Session()
    sess.run(init)
    writer = tf.summary.FileWriter(FLAGS.logdir, sess.graph) if FLAGS.logdir else None
    images, labels = digits(2000, 1)
    for i in range(FLAGS.steps):
        batch = np.arange(100 * i, 100 * (i + 1)) % 2000
        feed = {x: images[batch], y_: labels[batch]}
        summary, _ = sess.run([summaries, train_step], feed_dict=feed)
        if writer:
            writer.add_summary(summary, i)
    if writer:
        writer.close()
    correct_prediction = tf.equal(tf.argmax(y, 1), tf.argmax(y_, 1))
    accuracy = tf.reduce_mean(tf.cast(correct_prediction, tf.float32))
    images, labels = digits(500, 2)
    print("accuracy %.2f" % sess.run(accuracy, feed_dict={x: images, y_: labels}))
    print("cross entropy %.3f" % sess.run(cross_entropy, feed_dict={x: images, y_: labels}))


if __name__ == "__main__":
    tf.app.run()
