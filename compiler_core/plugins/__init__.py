"""Parts of seams by name, bundled or offered by installed distributions."""
