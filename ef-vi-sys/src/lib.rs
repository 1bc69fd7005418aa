//! ef-vi-sys
