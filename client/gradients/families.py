"""The gradients, by op family. Importing this module registers them all."""

from flowray.proto.ops import families

families.load("flowray.client.gradients")
