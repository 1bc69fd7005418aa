//! Log lines on standard error. Never on the packet path.

/// Sets the level, unless the application logs by itself already.
pub fn init(level: tracing::Level) {
    // An application that has set its own subscriber keeps it.
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false)
        .without_time()
        .try_init();
}
