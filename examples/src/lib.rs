//! Small programs that a reader can copy: `echo.rs`, `http.rs`.
