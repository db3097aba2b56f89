"""The product: command line, studies, runners, storage, reports, CI export."""
