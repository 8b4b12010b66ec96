Command exited with non-zero status 1
0.17 s wall 0.01 user 0.03 sys
