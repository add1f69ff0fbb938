import tensorflow.compat.v1 as tf
from tensorflow.contrib import layers
from tensorflow.contrib.layers import xavier_initializer

tf.disable_v2_behavior()
with tf.variable_scope("scope"):
    w = tf.get_variable("w", [2, 2], initializer=xavier_initializer(),
                        regularizer=layers.l2_regularizer(0.5))
print(w.op.name, tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)[0].shape)
