//! HU to network input: clip, subtract, divide.
