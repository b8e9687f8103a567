#ifndef WORK_H
#define WORK_H

int work_0(int x);
int work_1(int x);
int work_2(int x);
int work_3(int x);
int work_4(int x);
int work_5(int x);
int work_6(int x);
int work_7(int x);
int work_8(int x);
int work_9(int x);
int work_10(int x);

#endif
