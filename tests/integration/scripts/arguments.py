import sys

import neighbour
import tensorflow as tf

print(__name__, sys.argv[1:], neighbour.NAME, tf.__version__)
with tf.Session() as sess:
    print([device.name for device in sess.list_devices()])
tf.logging.set_verbosity(tf.logging.INFO)
tf.logging.info("told")
sys.exit(4)
