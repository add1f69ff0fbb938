import tensorflow as tf

with tf.device("/gpu:1"):
    matrix1 = tf.constant([[3., 3.]])
    matrix2 = tf.constant([[2.], [2.]])
    product = tf.matmul(matrix1, matrix2)

with tf.Session() as sess:
    try:
        sess.run(product)
    except tf.errors.InvalidArgumentError as error:
        print(type(error).__name__, "Cannot assign a device for operation" in error.message,
              "/device:GPU:1" in error.message)

config = tf.ConfigProto(allow_soft_placement=True)
with tf.Session(config=config) as sess:
    print(sess.run(product))
