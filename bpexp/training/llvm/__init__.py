"""The compiled engine: generates machine code for training loops with LLVM.

``docs/compiler.md`` explains it. The modules, from the bottom up:

- ``lane_layout``: arranges the arrays of a batch for vector instructions;
- ``vector_ir``: symbols that record the formulas of ``bpexp.nn`` as LLVM instructions;
- ``codegen``: loops, variables and matrices in generated code;
- ``product``: the function that computes matrix products;
- ``team``: the share of each thread, where several train one batch;
- ``kind``, ``layout``, ``forward`` and ``kernel``: the code for networks of any widths;
- ``unrolled_kernel``: faster code for very small networks;
- ``formulas``: tells apart the code of formulas that other packages register;
- ``compiler`` and ``jit``: compile the code, and cache it on disk;
- ``engine``: the engine that calls the compiled code.
"""
