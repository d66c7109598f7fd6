//! The setters of the values that a world is built from, as a table.

/// Defines methods that set one field each and return the value.
macro_rules! setters {
    ($($(#[$doc:meta])+ $name:ident($($argument:ident: $type:ty),*) => $($field:ident).+ = $value:expr;)+) => {
        $(
            $(#[$doc])+
            #[must_use]
            pub fn $name(mut self $(, $argument: $type)*) -> Self {
                self.$($field).+ = $value;
                self
            }
        )+
    };
}

pub(crate) use setters;
