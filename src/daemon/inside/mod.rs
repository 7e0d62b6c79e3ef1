//! The inside of the worker process: files in, findings, pictures and a draft out.
