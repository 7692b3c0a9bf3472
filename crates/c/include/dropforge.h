/* Dropforge: predict with trained networks from C, and from languages that call it.
 *
 *     dropforge_model *model = dropforge_open("runs/digits");
 *     if (!model) { fprintf(stderr, "%s\n", dropforge_error()); return 1; }
 *     float *rows = malloc(samples * dropforge_outputs(model) * sizeof *rows);
 *     if (dropforge_predict(model, pixels, samples, rows) != 0) { ... dropforge_error() ... }
 *     dropforge_close(model);
 *
 * Link with -ldropforge_c. Every function may be called from several threads at once, with the same model too; only
 * dropforge_close must be the last call with its model. Errors are a status and a line of text: nothing is printed, and no
 * panic comes through. Only where the process has no memory left is it aborted.
 */
#ifndef DROPFORGE_H
#define DROPFORGE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A trained network in memory. */
typedef struct dropforge_model dropforge_model;

/* The version of the library, such as "0.1.0". */
const char *dropforge_version(void);

/* What went wrong in the last call of this thread that failed: one line in UTF-8, "" if none has. Valid until the next
 * call of this thread that fails. */
const char *dropforge_error(void);

/* Opens the folder of a run, its newest checkpoint, or a file that `dropforge pack` has written. NULL if that fails. */
dropforge_model *dropforge_open(const char *path);

/* Frees a model. NULL is allowed. */
void dropforge_close(dropforge_model *model);

/* The numbers of one sample that go in, and of one that come out; 0 if the model is NULL. Networks of several inputs are
 * refused when they are opened. */
size_t dropforge_inputs(const dropforge_model *model);
size_t dropforge_outputs(const dropforge_model *model);

/* The extents of one sample, for example 3, 32, 32: channels, height, width. Writes at most `capacity` of them and
 * gives how many there are. `shape` may be NULL if `capacity` is 0. */
size_t dropforge_shape(const dropforge_model *model, size_t *shape, size_t capacity);

/* How many classes there are, and their names in UTF-8, in the order of the outputs; NULL where there is none. Names
 * live as long as the model. */
size_t dropforge_class_count(const dropforge_model *model);
const char *dropforge_class(const dropforge_model *model, size_t index);

/* Predicts `samples` samples, row by row: dropforge_inputs() numbers of each go in, as they were before training
 * normalised them, and dropforge_outputs() of each are written: the probabilities of the classes, how probable each yes
 * is, or the numbers of a regression in the units of its target. 0 if it worked, and -1 if not. Memory must not
 * overlap.
 *
 * Numbers of images are brightness from 0 to 1, or bytes from 0 to 255, plane by plane; tokens are whole numbers. */
int dropforge_predict(const dropforge_model *model, const float *inputs, size_t samples, float *outputs);
int dropforge_predict_bytes(const dropforge_model *model, const uint8_t *inputs, size_t samples, float *outputs);
int dropforge_predict_tokens(const dropforge_model *model, const int32_t *inputs, size_t samples, float *outputs);

/* The same for one picture in a file (JPEG, PNG, WebP, BMP, GIF), which is brought to the size that the network
 * takes. */
int dropforge_predict_image(const dropforge_model *model, const char *path, float *outputs);

#ifdef __cplusplus
}
#endif

#endif
