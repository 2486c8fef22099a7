//! HTTP transports and the request shell
