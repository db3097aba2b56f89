"""What files of a package of sources are called, and its configuration's schema."""

CONFIGURATION_SCHEMA = "nest-tune/bundle-config/1"
CONFIGURATION, SOURCE, DOCUMENT = "config.toml", "source.onnx", "bundle.json"
