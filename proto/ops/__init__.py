"""The op definitions, by family. Importing this package registers them all."""

from flowray.proto.ops import families

families.load(__name__)
