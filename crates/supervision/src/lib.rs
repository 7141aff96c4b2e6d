//! Typed supervision over actix in OTP's terms.
