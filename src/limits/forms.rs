//! Bounds of what visitors send.

/// Fields of a form, those with files among them. Over it: 413.
pub const FORM_FIELDS_MAX: usize = 1000;
