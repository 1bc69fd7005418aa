//! TCP against scripts, against itself over a bad link, and against a slower self.

mod close;
mod data;
mod drill;
mod fast_path;
mod handshake;
mod host;
mod hostile;
mod loss;
mod matrix;
mod options;
mod rfc5961;
mod rfc6093;
mod simulation;
mod time_wait;
mod timers;
mod window;
