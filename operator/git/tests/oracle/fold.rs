use super::fixture::Fixture; #[test] fn x(){ let _ = Fixture::new(1, 3, 1, false); }
