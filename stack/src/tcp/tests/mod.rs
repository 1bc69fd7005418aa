//! TCP against scripts, against itself over a bad link, and against a slower self.

mod close;
mod data;
mod drill;
mod fast_path;
mod handshake;
mod host;
mod hostile;
mod loss;
mod options;
mod rfc2018;
mod rfc2883;
mod rfc3042;
mod rfc3168;
mod rfc4015;
mod rfc5682;
mod rfc5961;
mod rfc6093;
mod rfc6298;
mod rfc6582;
mod rfc6675;
mod rfc6937;
mod rfc8985;
mod simulation;
mod time_wait;
mod timers;
mod window;
