"""The compiled engine: training loops written as LLVM IR."""
